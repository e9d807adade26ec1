"""Run the command line as `python -m lxmert_tf.cli`."""

import sys

from lxmert_tf.cli.main import main

sys.exit(main())
