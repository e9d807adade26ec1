"""How fast models answer and train on this machine, as `lxmert benchmark` measures it."""
