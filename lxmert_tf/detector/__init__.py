"""The bottom-up-attention detector, which made LXMERT's published region features, in Keras."""
