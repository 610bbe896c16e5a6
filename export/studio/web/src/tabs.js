// Which of several tabs saves: the one that holds the lock of the place.

/**
 * @param onState gets "mine" when this tab saves from now on, "other" while another one does.
 * @param locks navigator.locks, or undefined where there is none: then every tab saves.
 */
export function createTurn(place, onState, locks = navigator.locks) {
  let release = () => {};

  function hold() {
    onState("mine");
    return new Promise((resolve) => {
      release = resolve;
    });
  }

  const lost = () => onState("other");

  function wait() {
    locks.request(place, hold).catch(() => {
      lost();
      wait();
    });
  }

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
    .catch(() => {
      lost();
      wait();
    });
  return {
    /** Saves here from now on; the other tab is told. */
    take() {
      locks.request(place, { steal: true }, hold).catch(() => {
        lost();
        wait();
      });
    },
    end: () => release(),
  };
}
