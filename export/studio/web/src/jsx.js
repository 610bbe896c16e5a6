// What JSX becomes; build.mjs puts it into every module that needs it.
export { Fragment, h } from "preact";
