// Figures: reading a mark with keys or a finger, switching a network off, downloads. Titles in the SVG serve the mouse.

const nameOf = (figure) => `${document.title.split(" · ")[1] ?? "figure"}-${figure.id.replace(/^figure-/, "")}`;

const save = (name, type, text) => {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`${name} saved.`);
};

// The page's colours are variables: a file of its own has to hold what they stand for here.
const standalone = (svg) => {
  const looks = getComputedStyle(document.documentElement);
  const copyOf = svg.cloneNode(true);
  const box = svg.viewBox.baseVal;
  copyOf.setAttribute("width", `${box.width}pt`);
  copyOf.setAttribute("height", `${box.height}pt`);
  copyOf.setAttribute("font-family", "DejaVu Sans, Arial, sans-serif");
  copyOf.setAttribute("color", looks.getPropertyValue("--ink"));
  const text = new XMLSerializer().serializeToString(copyOf);
  return text.replace(/var\((--[\w-]+)\)/g, (_, name) => looks.getPropertyValue(name).trim());
};

// A network is known by its colour. Its name in the legend, or on its line, switches it off and on.
const makeKeys = (svg) => {
  const keys = [...svg.querySelectorAll(".key")];
  if (keys.length < 2) return;
  svg.setAttribute("role", "group");
  for (const key of keys) {
    key.setAttribute("tabindex", "0");
    key.setAttribute("role", "button");
    key.setAttribute("aria-pressed", "true");
    const toggle = () => {
      const off = key.getAttribute("aria-pressed") === "true";
      key.setAttribute("aria-pressed", String(!off));
      key.classList.toggle("off", off);
      for (const node of svg.querySelectorAll(`[style*="${key.dataset.arm}"]`)) {
        if (!node.closest(".key")) node.classList.toggle("off", off);
      }
    };
    key.addEventListener("click", toggle);
    key.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
    });
  }
};

const tip = make("div", { class: "tip", hidden: "" });
document.body.append(tip);
const showTip = (mark) => {
  const text = mark.querySelector("title").textContent;
  const box = mark.getBoundingClientRect();
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(scrollX + box.left, scrollX + innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${scrollY + box.top - tip.offsetHeight - 6}px`;
  say(text);
};

// Arrows walk from mark to mark, in the order in which they stand from left to right.
const makeReadable = (region) => {
  const marks = [...region.querySelectorAll("use > title")].map((title) => title.parentNode);
  if (!marks.length) return;
  marks.sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left);
  let at = -1;
  region.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (!step || event.target !== region) return;
    event.preventDefault();
    at = (at + step + marks.length) % marks.length;
    showTip(marks[at]);
  });
  region.addEventListener("blur", () => { tip.hidden = true; });
  region.addEventListener("click", (event) => {
    const mark = event.target.closest("use");
    if (mark?.querySelector("title")) showTip(mark); else tip.hidden = true;
  });
};

for (const figure of document.querySelectorAll("figure[id]")) {
  const svg = figure.querySelector("svg");
  if (!svg) continue;
  const title = figure.querySelector("h3");
  const tips = make("span", { class: "tips" });
  const name = title?.textContent ?? "figure";
  const anchor = make("a", { href: `#${figure.id}`, "aria-label": `Link to: ${name}` }, "#");
  const asSvg = make("button", { type: "button", "aria-label": `SVG of: ${name}` }, "SVG");
  const asCsv = make("button", { type: "button", "aria-label": `CSV of: ${name}` }, "CSV");
  asSvg.addEventListener("click", () => save(`${nameOf(figure)}.svg`, "image/svg+xml", standalone(svg)));
  asCsv.addEventListener("click", () => save(`${nameOf(figure)}.csv`, "text/csv", figure.dataset.csv));
  tips.append(anchor, asSvg, asCsv);
  if (title) title.append(tips); else figure.prepend(tips);
}
for (const svg of document.querySelectorAll("figure svg")) makeKeys(svg);
for (const region of document.querySelectorAll("figure .scroll")) makeReadable(region);

const cells = document.querySelector("table.cells") ?? document.querySelector("table.trials");
if (cells) {
  const button = make("button", { type: "button", class: "link" }, "Data (CSV)");
  button.addEventListener("click", () => save(`${document.title.split(" · ")[1]}-cells.csv`, "text/csv", csvOf(cells)));
  document.getElementById("ends").prepend(button);
}
