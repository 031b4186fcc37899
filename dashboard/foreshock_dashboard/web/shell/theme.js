// Before anything is painted: the theme that was chosen last time.
try {
  const chosen = localStorage.getItem("foreshock-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; then the system's preference holds.
}
