import { render } from "preact";
import { App } from "./app";
import "./style/theme.css";
import "./style/frame.css";
import "./style/controls.css";
import "./style/states.css";
import "./style/tables.css";
import "./style/lists.css";
import "./style/heat_maps.css";
import "./style/charts.css";
import "./style/exits.css";
import "./style/lattice.css";
import "./style/forms.css";

const root = document.getElementById("app");
if (root) {
  render(<App />, root);
}
