"""The page of `lxmert app`: ask a model about pictures in the browser, made with Gradio."""
