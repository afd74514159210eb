// Sorting, filtering, folding and copying. The page is whole without it: every control here is made by it.
"use strict";

const make = (tag, attributes = {}, text = "") => {
  const node = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};
const rowsOf = (table) => [...table.tBodies[0].rows];
// What a cell says, without its buttons' words.
const textOf = (cell) => (cell.querySelector(".sort") ?? cell.firstChild ?? cell).textContent.trim();
const say = (text) => { document.getElementById("said").textContent = text; };

const words = new Intl.Collator("en", { numeric: true });

// A cell is a number when all of it reads as one; anything else is text, and an empty one comes last.
const compare = (a, b, sign) => {
  if (a === b) return 0;
  if (a === "" || a === "–") return 1;
  if (b === "" || b === "–") return -1;
  const [x, y] = [Number(a), Number(b)];
  const bothNumbers = !Number.isNaN(x) && !Number.isNaN(y);
  return sign * (bothNumbers ? x - y : words.compare(a, b));
};

const sortBy = (table, head) => {
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const keyed = rowsOf(table).map((row) => [textOf(row.cells[column]), row]);
  keyed.sort((a, b) => compare(a[0], b[0], down ? -1 : 1));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  say(`Sorted by ${textOf(head)}, ${down ? "descending" : "ascending"}.`);
};

const makeSortable = (table) => {
  for (const head of table.tHead.rows[0].cells) {
    const button = make("button", { type: "button", class: "sort" }, textOf(head));
    head.dataset.head = textOf(head);
    head.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, head));
  }
};

// A spreadsheet runs a cell that begins like a formula: an apostrophe makes it a text.
const csvCell = (text) => {
  const safe = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const csvOf = (table) =>
  [table.tHead.rows[0], ...rowsOf(table).filter((row) => !row.hidden)]
    .map((row) => [...row.cells].map((cell) => csvCell(cell.dataset.key ?? textOf(cell))).join(","))
    .join("\n") + "\n";

const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { readonly: "", "aria-hidden": "true", class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return false;
  }
  return true;
};

const makeTools = (table) => {
  const box = make("div", { class: "tools" });
  const label = make("label", {}, "Filter ");
  const input = make("input", { type: "search", placeholder: "network, depth, reason …", autocomplete: "off" });
  label.append(input);
  box.append(label);
  const statusColumn = [...table.tHead.rows[0].cells].findIndex((head) => textOf(head) === "status");
  const select = make("select");
  const statuses = new Set(rowsOf(table).map((row) => textOf(row.cells[statusColumn])));
  select.append(make("option", { value: "" }, "all"), ...[...statuses].sort().map((s) => make("option", { value: s }, s)));
  const statusLabel = make("label", {}, "Status ");
  statusLabel.append(select);
  const count = make("output", { "aria-live": "polite" });
  const button = make("button", { type: "button" }, "Copy as CSV");
  box.append(statusLabel, button, count);
  table.closest(".scroll").before(box);

  const texts = new Map(rowsOf(table).map((row) => [row, `${row.textContent} ${row.querySelector("[data-key]")?.dataset.key ?? ""}`.toLowerCase()]));
  const filter = () => {
    if (input.value || select.value) unfold(table);
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of texts) {
      const status = !select.value || textOf(row.cells[statusColumn]) === select.value;
      row.hidden = !(status && wanted.every((word) => text.includes(word)));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${texts.size} trials`;
  };
  input.addEventListener("input", filter);
  select.addEventListener("change", filter);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { input.value = ""; filter(); }
  });
  button.addEventListener("click", async () => {
    const done = await copy(csvOf(table));
    button.textContent = done ? "Copied" : "Copying was refused";
    say(done ? `${count.textContent} copied as CSV.` : "The browser refused to copy.");
    setTimeout(() => { button.textContent = "Copy as CSV"; }, 1500);
  });
  filter();
};

// The command of each row behind a button; of many rows, the first twenty until all are asked for.
const SHOWN = 20;
const makeRows = (table) => {
  for (const row of rowsOf(table)) {
    const button = make("button", { type: "button", "aria-label": `Copy the command that runs ${row.id} again` }, "copy");
    button.addEventListener("click", async () => {
      say((await copy(row.dataset.command)) ? `Copied: ${row.dataset.command}` : "The browser refused to copy.");
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    button.title = row.dataset.command;
    row.cells[row.cells.length - 1].append(button);
  }
  const count = rowsOf(table).length;
  if (count <= SHOWN) return;
  table.classList.add("folded");
  const more = make("button", { type: "button" }, `Show all ${count} trials`);
  more.addEventListener("click", () => unfold(table));
  table.closest(".scroll").after(more);
};
const unfold = (table) => {
  if (!table?.classList.contains("folded")) return;
  table.classList.remove("folded");
  table.closest(".scroll").nextElementSibling?.remove();
};

// What is wider than its place says so, and fades where it goes on.
const hint = (box) => {
  const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
  if (box.scrollWidth - box.clientWidth < 8) box.removeAttribute("data-more");
  else box.setAttribute("data-more", left > 8 ? "right" : "none");
};
const makeHints = () => {
  const seen = new ResizeObserver((entries) => { for (const { target } of entries) hint(target); });
  for (const box of document.querySelectorAll(".scroll")) {
    seen.observe(box);
    box.addEventListener("scroll", () => hint(box), { passive: true });
  }
};

const folds = () => [...document.querySelectorAll("main details")];

const makeFolding = () => {
  const button = make("button", { type: "button" }, "Open all folds");
  button.addEventListener("click", () => {
    const open = folds().some((fold) => !fold.open);
    for (const fold of folds()) fold.open = open;
    button.textContent = open ? "Close all folds" : "Open all folds";
  });
  document.querySelector("nav div").append(button);
};

// A link to something inside a fold opens the fold; paper has no folds, but for the longest lists of numbers.
const openAround = (node) => {
  for (let fold = node?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  if (node?.matches("tr")) { unfold(node.closest("table")); node.scrollIntoView({ block: "center" }); }
};
const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  openAround(target);
  // A link to a claim opens it: that is where its rule and its numbers are.
  if (target?.matches(".claim")) target.querySelector("details").open = true;
};
let closed = [];
addEventListener("beforeprint", () => {
  closed = folds().filter((fold) => !fold.open && !fold.matches(".long"));
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of closed) fold.open = false; });
addEventListener("hashchange", openTarget);

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const table of document.querySelectorAll("table.filterable")) { makeTools(table); makeRows(table); }
makeFolding();
makeHints();
openTarget();
