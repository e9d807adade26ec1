// <lxmert-explorer data="JSON">: a picture with its regions and, if there is a sentence, the
// attention between words and regions. `explorer.py` writes the JSON and describes it.
"use strict";

(() => {
  // At least this many times a uniform share gets the strongest color (as in the PNG drawings).
  const DARKEST_RATIO = 3;
  const AVERAGE = "average";

  const percent = (share) => `${Math.round(share * 100)}%`;

  // Shares are stored as little-endian uint16, 65535 = 1.
  function decodeShares(base64, layers, heads, rows, columns) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const at = (layer, head, row, column) =>
      view.getUint16(2 * (((layer * heads + head) * rows + row) * columns + column), true) / 65535;
    return (layer, head) => {
      const chosen = (one, count) => (one === AVERAGE ? [...Array(count).keys()] : [Number(one)]);
      const pairs = chosen(layer, layers).flatMap((l) => chosen(head, heads).map((h) => [l, h]));
      return [...Array(rows).keys()].map((row) =>
        [...Array(columns).keys()].map(
          (column) => pairs.reduce((sum, [l, h]) => sum + at(l, h, row, column), 0) / pairs.length,
        ),
      );
    };
  }

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  class LxmertExplorer extends HTMLElement {
    static css = "";

    connectedCallback() {
      if (this.shadowRoot) return;
      this.data = JSON.parse(this.getAttribute("data"));
      this.selected = null;
      this.attachShadow({ mode: "open" });
      const style = make("style", {}, LxmertExplorer.css);
      this.summary = make("p", { class: "summary", role: "status" });
      const parts = [style];
      if (this.data.attention) parts.push(this.controls(), this.words());
      if (this.data.attention) parts.push(this.summary);
      parts.push(make("div", { class: "body" }, this.picture(), this.list()), ...this.notes());
      this.shadowRoot.append(...parts);
      this.addEventListener("keydown", (event) => {
        if (event.key === "Escape") this.select(null);
      });
      this.update();
      if (this.data.attention) {
        this.dispatchEvent(new CustomEvent("attention-shown", { bubbles: true }));
      }
    }

    controls() {
      const { layers, heads } = this.data.attention;
      this.layer = this.choice("Layer", "layers", layers);
      this.head = this.choice("Head", "heads", heads);
      const reset = make("button", { type: "button" }, "Show the overview");
      reset.addEventListener("click", () => this.select(null));
      const [layer, head] = [this.layer, this.head].map((s) => s.parentElement);
      return make("div", { class: "controls" }, layer, head, reset);
    }

    choice(name, plural, count) {
      const select = make("select");
      select.append(make("option", { value: AVERAGE }, `Average of all ${count} ${plural}`));
      for (let i = 0; i < count; i++) {
        select.append(make("option", { value: i }, `${name} ${i + 1} of ${count}`));
      }
      // The average of one is that one.
      if (count === 1) select.firstChild.remove();
      select.addEventListener("change", () => this.update());
      make("label", {}, name, select);
      return select;
    }

    words() {
      this.wordButtons = this.data.words.map((word, i) => {
        const button = make(
          "button",
          { type: "button", class: "word" },
          make("span", {}, this.wordName(i)),
          make("span", { class: "share" }),
          make("span", { class: "track" }, make("span", { class: "bar" })),
        );
        button.addEventListener("click", () => this.select({ word: i }));
        return button;
      });
      return make(
        "div",
        { class: "words", role: "group", "aria-label": "Words of the sentence" },
        ...this.wordButtons,
      );
    }

    picture() {
      const { image, alt, width, height, regions } = this.data;
      this.frame = make("div", { class: "frame" }, make("img", { src: image, alt }));
      // Enlarged drawings stay sharp.
      this.frame.classList.toggle("tiny", width < 200);
      this.frame.style.maxWidth = `min(100%, ${Math.max(280, Math.round((460 * width) / height))}px)`;
      const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
      const taken = {};
      this.boxes = regions.map(({ box }, i) => {
        // The list below the picture is for keyboards and screen readers.
        const button = make(
          "button",
          { type: "button", class: "box", tabindex: -1, "aria-hidden": "true" },
          make("span", { class: "fill" }),
          make("span", { class: "number" }, i + 1),
        );
        button.title = this.regionName(i);
        const [x1, y1, x2, y2] = box.map((v) => `${100 * v}%`);
        Object.assign(button.style, { left: x1, top: y1 });
        button.style.width = `calc(${x2} - ${x1})`;
        button.style.height = `calc(${y2} - ${y1})`;
        // Small boxes lie above the large ones that hold them.
        button.style.zIndex = Math.round(1000 * (1 - area(box)));
        // Numbers in the same corner stand side by side.
        const corner = box.slice(0, 2).map((v) => Math.round(25 * v));
        taken[corner] = (taken[corner] ?? -1) + 1;
        button.querySelector(".number").style.left = `${26 * taken[corner]}px`;
        this.react(button, i);
        return button;
      });
      this.frame.append(...this.boxes);
      return this.frame;
    }

    list() {
      this.regionButtons = this.data.regions.map((region, i) => {
        const button = make(
          "button",
          { type: "button", class: "region" },
          make("span", { class: "number" }, i + 1),
          make("span", { class: "name" }, region.name || "no name"),
          make("span", { class: "share" }),
        );
        if (region.confidence) {
          const sure = make("span", { class: "sure" }, ` ${percent(region.confidence)} sure`);
          button.querySelector(".name").append(sure);
        }
        if (this.data.attention) {
          button.append(make("span", { class: "track" }, make("span", { class: "bar" })));
        }
        this.react(button, i);
        return button;
      });
      const items = this.regionButtons.map((button) => make("li", {}, button));
      return make("ol", { class: "regions", "aria-label": "Regions of the picture" }, ...items);
    }

    notes() {
      if (!this.data.regions.length) return [];
      if (!this.data.attention) {
        return [make("p", { class: "hint" }, "Point at a region to see it alone.")];
      }
      const text =
        "The model reads the words and the regions together. Attention is the share that each " +
        "word takes from each region, and each region from each word; the shares of one word add " +
        "up to 100%. A head is one of several such readings in a layer. Attention shows where the " +
        "model looks; it is no proof of why it answers as it does. “Start” stands before " +
        "the sentence: the answer is computed from it. “(unknown)” is a word that the model has " +
        "never learned.";
      return [
        make("p", { class: "hint" }, "Choose a word to see what it looks at, or a region to see which words look at it."),
        make("details", {}, make("summary", {}, "How to read this"), make("p", {}, text)),
      ];
    }

    react(button, i) {
      const hover = (on) => () => {
        this.frame.classList.toggle("hovering", on);
        this.boxes[i].classList.toggle("hovered", on);
      };
      for (const name of ["mouseenter", "focus"]) button.addEventListener(name, hover(true));
      for (const name of ["mouseleave", "blur"]) button.addEventListener(name, hover(false));
      button.addEventListener("click", () => this.select({ region: i }));
    }

    select(selected) {
      const same = JSON.stringify(selected) === JSON.stringify(this.selected);
      this.selected = same ? null : selected;
      this.update();
    }

    update() {
      const { word, region } = this.selected || {};
      if (this.data.attention) this.showAttention(word, region);
      for (const [buttons, chosen] of [
        [this.wordButtons || [], word],
        [this.regionButtons, region],
        [this.boxes, region],
      ]) {
        buttons.forEach((button, i) => {
          button.classList.toggle("chosen", i === chosen);
          button.setAttribute("aria-pressed", i === chosen);
        });
      }
    }

    showAttention(word, region) {
      const { attention, words, regions } = this.data;
      const { layers, heads } = attention;
      const [T, R] = [words.length, regions.length];
      this.toRegions ||= decodeShares(attention.words_to_regions, layers, heads, T, R);
      this.toWords ||= decodeShares(attention.regions_to_words, layers, heads, R, T);
      const toRegions = this.toRegions(this.layer.value, this.head.value);
      const toWords = this.toWords(this.layer.value, this.head.value);
      const best = (shares) => shares.indexOf(Math.max(...shares));
      const quoted = (i) => `“${this.wordName(i)}”`;
      let regionShares = null;
      let wordShares = null;
      if (region !== undefined) {
        wordShares = toRegions.map((row) => row[region]);
        const [looker, read] = [best(wordShares), best(toWords[region])];
        this.summary.textContent =
          `The word that looks most at ${this.regionName(region)} is ${quoted(looker)}, with ` +
          `${percent(wordShares[looker])} of its attention. The region itself looks most at ` +
          `${quoted(read)} (${percent(toWords[region][read])}).`;
      } else if (word !== undefined) {
        regionShares = toRegions[word];
        const most = best(regionShares);
        this.summary.textContent =
          `${quoted(word)} looks most at ${this.regionName(most)}: ` +
          `${percent(regionShares[most])} of its attention.`;
      } else {
        // The answer is computed from the first token.
        regionShares = toRegions[0];
        wordShares = words.map((_, i) => toWords.reduce((sum, row) => sum + row[i], 0) / R);
        const [place, read] = [best(regionShares), best(wordShares)];
        this.summary.textContent =
          `For the answer, the model looks most at ${this.regionName(place)}: ` +
          `${percent(regionShares[place])} of its attention. The regions look most at ` +
          `${quoted(read)} (${percent(wordShares[read])}).`;
      }
      this.light(this.wordButtons, wordShares);
      this.light(this.regionButtons, regionShares);
      const strongest = regionShares && this.strongest(regionShares);
      this.boxes.forEach((box, i) => {
        const strength = regionShares ? regionShares[i] / strongest : 0;
        box.querySelector(".fill").style.opacity = 0.6 * strength;
        box.classList.toggle("lit", strength > 0.5);
      });
    }

    strongest(shares) {
      return Math.max(...shares, Math.min(1, DARKEST_RATIO / shares.length));
    }

    light(buttons, shares) {
      const strongest = shares && this.strongest(shares);
      buttons.forEach((button, i) => {
        button.querySelector(".share").textContent = shares ? percent(shares[i]) : "";
        button.querySelector(".bar").style.width = shares ? percent(shares[i] / strongest) : "0";
      });
    }

    wordName(i) {
      const word = this.data.words[i];
      return { "[CLS]": "Start", "[SEP]": "End", "[UNK]": "(unknown)" }[word] || word.replace(/^##/, "…");
    }

    regionName(i) {
      const { name } = this.data.regions[i];
      return `region ${i + 1}${name ? ` (${name})` : ""}`;
    }
  }

  window.LxmertExplorer = LxmertExplorer;
})();
