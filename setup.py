"""List the packages; everything else is in pyproject.toml.

The YAML files live in `configs` at the top of the repository and are installed as the package
`lxmert_tf.configs`. pyproject.toml can either find packages or list them, not both.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["lxmert_tf*", "pipeline*"]), "lxmert_tf.configs"])
