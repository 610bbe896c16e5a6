/** Focuses an element, after the next drawing if it is not shown yet. */
export function focusOn(selector) {
  const focus = () => {
    const element = document.querySelector(selector);
    element?.focus();
    return element !== null && element === document.activeElement;
  };
  if (!focus()) setTimeout(focus);
}
