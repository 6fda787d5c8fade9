// Small mends of the theme, for a book that is opened from a folder.

// Search results quote the pages they found, which a browser refuses to fetch from a folder.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// The theme reports an error on the first visit, when no mode has been chosen.
document.documentElement.dataset.mode ||= "auto";

addEventListener("DOMContentLoaded", () => {
  // The list of references asks for list items, but its entries have an older role.
  for (const entry of document.querySelectorAll('[role="doc-biblioentry"]')) entry.setAttribute("role", "listitem");

  // Beside a margin note the theme hides the contents of the page, which not every page has.
  if (!document.querySelector("div.bd-sidebar-secondary"))
    document.body.insertAdjacentHTML("beforeend", '<div class="bd-sidebar-secondary" style="display: none"></div>');

  // The name of the model does not break at its hyphen.
  for (const heading of document.querySelectorAll(".bd-article :is(h1, h2, h3)"))
    heading.innerHTML = heading.innerHTML.replace(/Int-RA\+?/g, '<span style="white-space: nowrap">$&</span>');
});

// What scrolls sideways is reached by keyboard; the theme sees to cells and code only.
addEventListener("load", () => {
  const watch = new ResizeObserver((changes) => {
    for (const { target } of changes)
      if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", 0);
      else target.removeAttribute("tabindex");
  });
  for (const one of document.querySelectorAll(".bd-article figure, .bd-article :not(.cell_output) > .output"))
    watch.observe(one);
});
