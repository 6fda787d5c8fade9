// Search results quote the pages they found, which a browser refuses to fetch for a book opened from a folder.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
