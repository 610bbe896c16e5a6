/** Focuses an element; one that is not there yet when it comes, unless the focus moves meanwhile. */
export function focusOn(selector) {
  let tries = 60; // frames
  const focus = () => {
    const element = document.querySelector(selector);
    element?.focus();
    if (element && element === document.activeElement) return;
    if (tries === 60) document.activeElement?.blur(); // keys work meanwhile
    tries -= 1;
    if (tries && document.activeElement === document.body) requestAnimationFrame(focus);
  };
  focus();
}
