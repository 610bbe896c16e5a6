// Icons of 16 x 16, drawn in the colour of the text. They never stand alone as a name.
export const PATHS = {
  undo: "M6 3 2.5 6.5 6 10M3 6.5h6.5a3.5 3.5 0 0 1 0 7H7",
  redo: "m10 3 3.5 3.5L10 10M13 6.5H6.5a3.5 3.5 0 0 0 0 7H9",
  close: "m4 4 8 8M12 4l-8 8",
  lock: "M4.5 7.5h7v6h-7zM6 7.5V5a2 2 0 0 1 4 0v2.5",
  open: "M4.5 7.5h7v6h-7zM6 7.5V5a2 2 0 0 1 3.8-.9",
  dice: "M3 3h10v10H3zM6 6h.01M10 6h.01M8 8h.01M6 10h.01M10 10h.01",
  arrow: "M2.5 12.5 12 4M7 3.5h5.5V9",
  warning: "M8 2.5 14.5 13.5h-13zM8 6.5v3.5M8 12h.01",
  copy: "M6 6h7.5v7.5H6zM10 6V2.5H2.5V10H6",
  download: "M8 2.5v8M4.5 7 8 10.5 11.5 7M3 13.5h10",
  picture: "M2.5 3.5h11v9h-11zM3 11l3-3.5 2.5 2.5 2-2L13.5 11M11 6h.01",
  grid: "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.5 3.5",
  own: "M8 10.5v-7M5 6l3-3 3 3M3 10v3.5h10V10",
  box: "M3 4h10v8H3z",
  theme: "M8 3a5 5 0 1 0 0 10zM8 3a5 5 0 0 1 0 10",
  back: "M3 8a5 5 0 1 0 2-4M3 3v2.5h2.5",
};

export function Icon({ name, size = 16 }) {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
