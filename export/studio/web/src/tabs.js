// Which of several tabs saves: the one that holds the lock of the place.

/**
 * @param onState gets "mine" when this tab saves from now on, "other" while another one does.
 * @param locks navigator.locks, or undefined where there is none; without locks every tab saves.
 */
export function createTurn(place, onState, locks = navigator.locks) {
  let release = () => {};
  let over = false; // the place is left: what is granted late is given back

  function hold() {
    if (over) return undefined;
    onState("mine");
    return new Promise((resolve) => {
      release = resolve;
    });
  }

  const lost = () => onState("other");

  /** Another tab took the lock; or the browser gives none to this page, and never will. */
  function failed(error) {
    if (over) return undefined;
    if (error.name !== "AbortError") return onState("mine");
    lost();
    return wait();
  }

  const wait = () => locks.request(place, hold).catch(failed);

  if (!locks) {
    onState("mine");
    return { take() {}, end() {} };
  }
  locks
    .request(place, { ifAvailable: true }, (lock) => {
      if (lock) return hold();
      lost();
      wait();
      return undefined;
    })
    .catch(failed);
  return {
    /** Saves here from now on; the other tab is told. */
    take: () => locks.request(place, { steal: true }, hold).catch(failed),
    end() {
      over = true;
      release();
    },
  };
}
