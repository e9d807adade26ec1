"""The YAML configurations, installed as the data of `lxmert_tf.configs`."""
