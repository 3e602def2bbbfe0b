"use strict";
// Tables that sort: each head becomes a button. Without this script the tables are not sortable.

function sortKey(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  if (value !== undefined) return Number(value);
  return cell.classList.contains("number") || cell.textContent.trim() === "" ? null : cell.textContent.trim().toLowerCase();
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortTable(table, column, ascending) {
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row, place) => ({ row, place, key: sortKey(row, column) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
    return (ascending ? 1 : -1) * compare(a.key, b.key) || a.place - b.place;
  });
  body.append(...keyed.map((entry) => entry.row));
  for (const head of table.tHead.querySelectorAll("[aria-sort]")) head.removeAttribute("aria-sort");
}

function makeSortable(table) {
  // Where there are two rows of heads, those that name a column say which.
  const named = table.tHead.querySelectorAll("th[data-column]");
  const heads = named.length > 0 ? named : table.tHead.querySelectorAll("th");
  heads.forEach((head, place) => {
    const column = Number(head.dataset.column ?? place);
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.dataset.better === "high" ? "descending" : "ascending";
      const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
      sortTable(table, column, next === "ascending");
      head.setAttribute("aria-sort", next);
    });
  });
}

// Filters of the leaderboard: rows by text, family and technique, columns by benchmark. Points of hidden runs fade.

function filterRows(form, table) {
  const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = { family: form.elements.family.value, technique: form.elements.technique.value };
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = [row.querySelector("th").textContent, row.dataset.family, row.dataset.technique].join(" ").toLowerCase();
    const fits =
      words.every((word) => text.includes(word)) &&
      Object.entries(chosen).every(([name, value]) => value === "" || row.dataset[name] === value);
    row.hidden = !fits;
    shown += fits;
    for (const point of document.querySelectorAll(`.plot [id*="-run-${row.dataset.run}-"]`)) point.classList.toggle("faded", !fits);
  }
  form.querySelector(".shown").textContent = `${shown} of ${table.tBodies[0].rows.length} runs shown`;
}

function filterColumns(form, table) {
  const boxes = form.querySelectorAll("input[name=benchmark]");
  const shown = new Set(Array.from(boxes).filter((box) => box.checked).map((box) => box.value));
  const details = form.elements.details === undefined || form.elements.details.checked;
  const hides = (cell) => !shown.has(cell.dataset.group) || (!details && cell.dataset.detail !== undefined);
  for (const cell of table.querySelectorAll("[data-group]:not([scope=colgroup])")) cell.hidden = hides(cell);
  for (const head of table.tHead.querySelectorAll("[scope=colgroup]")) {
    const own = Array.from(table.tHead.querySelectorAll("[data-column][data-group]"));
    const count = own.filter((cell) => cell.dataset.group === head.dataset.group && !cell.hidden).length;
    head.hidden = count === 0;
    head.colSpan = Math.max(count, 1);
  }
}

function makeFilters(form) {
  const table = document.getElementById(form.dataset.for);
  const update = () => {
    filterRows(form, table);
    filterColumns(form, table);
  };
  for (const kind of ["input", "change"]) form.addEventListener(kind, update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filters").forEach(makeFilters);
