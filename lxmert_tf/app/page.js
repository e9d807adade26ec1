// Files reach the page by a click, by dropping them anywhere, and by Ctrl-V wherever the cursor is.
// One that is too large, or that comes while nothing waits for a picture, is reported to the server,
// which answers with a sentence; so it does about a file that is no picture.
"use strict";

(() => {
  const isVisible = (element) => element.checkVisibility();
  const isPicture = (file) => file.type.startsWith("image/");
  const isFine = (file) => isPicture(file) && file.size <= maxPictureBytes;

  function refuse(element, reason) {
    const panel = element.id.replace(/-[a-z]+$/, "");
    document.dispatchEvent(new CustomEvent("picture-refused", { detail: { panel, reason } }));
  }

  // Returns the input under the cursor, or the first that is in view and waits for a picture.
  function waitingInput(target) {
    const inputs = [...document.querySelectorAll(".picture-input")];
    return target?.closest?.(".picture-input") ?? inputs.find(isVisible);
  }

  function receive(file, input) {
    if (!input) {
      const again = [...document.querySelectorAll(".another-picture")].find(isVisible);
      if (again) refuse(again, "shown");
      return;
    }
    if (file.size > maxPictureBytes) {
      refuse(input, "size");
      return;
    }
    const upload = input.querySelector("input[type=file]");
    if (!upload) return;
    // Browsers do not know the type of every picture; Gradio would refuse what has another one.
    const type = isPicture(file) ? file.type : "image/unknown";
    const files = new DataTransfer();
    files.items.add(new File([file], file.name, { type }));
    upload.files = files.files;
    upload.dispatchEvent(new Event("change", { bubbles: true }));
  }

  document.addEventListener("change", (event) => {
    const input = event.target.closest?.(".picture-input");
    const [file] = (input && event.target.files) || [];
    if (!file || isFine(file)) return;
    event.stopImmediatePropagation();
    // The same file may be chosen again.
    event.target.value = "";
    receive(file, input);
  }, true);

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    // Beside other files there may be text, which goes where the cursor is.
    const isText = event.clipboardData?.types.includes("text/plain");
    const file = files.find(isPicture) ?? (isText ? null : files[0]);
    if (!file) return;
    event.preventDefault();
    receive(file, waitingInput());
  });

  // Elsewhere, the browser would open the file in place of the page.
  document.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer?.files ?? [];
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    // The input under the cursor shows that something hovers above it.
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
    receive(file, waitingInput(event.target));
  }, true);

  // Where the model looked may be shown far from the answer that was chosen, above all on a phone.
  document.addEventListener("attention-shown", () => {
    [...document.querySelectorAll(".why")].find(isVisible)?.scrollIntoView({ block: "nearest" });
  });
})();
