// From a disk no page can be fetched for an excerpt: hits are then named by their titles.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
