// Ctrl-V gives the page a picture, wherever the cursor is; the input's own button takes a click.
"use strict";

document.addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  // The first part of the page that is in view and still waits for a picture.
  const inputs = [...document.querySelectorAll(".picture-input")];
  const waiting = inputs.find((input) => input.checkVisibility());
  const upload = waiting?.querySelector("input[type=file]");
  if (!picture || !upload) return;
  event.preventDefault();
  const files = new DataTransfer();
  files.items.add(picture);
  upload.files = files.files;
  upload.dispatchEvent(new Event("change", { bubbles: true }));
});
