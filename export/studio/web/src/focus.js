/** Focuses an element; one that is not there yet when it comes, unless the focus moves meanwhile. */
export function focusOn(selector) {
  let tries = 60; // frames
  const isFocused = () => {
    const element = document.querySelector(selector);
    element?.focus();
    return element && element === document.activeElement;
  };
  const again = () => {
    if (document.activeElement !== document.body || isFocused()) return;
    tries -= 1;
    if (tries) requestAnimationFrame(again);
  };
  if (isFocused()) return;
  document.activeElement?.blur(); // keys work meanwhile
  requestAnimationFrame(again);
}
