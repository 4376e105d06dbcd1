import { useEffect, useRef, useState } from "preact/hooks";
import { forgetKey, isKeyKept, type KeyEntry, onKeyNeeded } from "./api/key";
import { getSystem } from "./api/runs";
import { ComparePage } from "./pages/compare_page";
import { DataPage } from "./pages/data_page";
import { ExperimentPage } from "./pages/experiment_page";
import { ExperimentsPage } from "./pages/experiments_page";
import { ModelPage } from "./pages/model_page";
import { NewExperimentPage } from "./pages/new_experiment_page";
import { RunPage } from "./pages/run_page";
import { RunsPage } from "./pages/runs_page";
import { TracePage } from "./pages/trace_page";
import { TryPage } from "./pages/try_page";
import { useLoad } from "./parts/hooks";
import { Notice, Waiting } from "./parts/notice";
import { linkTo, type Route, useRoute } from "./route";

export function App() {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const place = route.parts.join("/");
  const before = useRef(place);
  useEffect(() => {
    // A new page is shown from its top.
    if (before.current !== place) {
      before.current = place;
      main.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }, [place]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="site-head">
        <a class="brand" href="#/">
          <img src="./icon.svg" alt="" width={26} height={26} />
          <span>Energy Flow</span>
        </a>
        <nav aria-label="Pages">
          <NavLink href="#/" active={place === "" || route.parts[0] === "runs"}>
            Runs
          </NavLink>
          <NavLink href="#/experiments" active={route.parts[0] === "experiments"}>
            Experiments
          </NavLink>
          <NavLink href="#/data" active={place === "data" || route.parts[0] === "models"}>
            Data
          </NavLink>
          <NavLink href="#/try" active={place === "try"}>
            Try it
          </NavLink>
          <NavLink href="#/compare" active={place === "compare"}>
            Compare
          </NavLink>
          <a href="./docs">API</a>
        </nav>
      </header>
      <main ref={main} tabIndex={-1} id="main">
        <CurrentPage route={route} />
      </main>
      <SiteFoot />
      <KeyDialog />
    </>
  );
}

function NavLink({ href, active, children }: { href: string; active: boolean; children: string }) {
  return (
    <a href={href} aria-current={active ? "page" : undefined}>
      {children}
    </a>
  );
}

function CurrentPage({ route }: { route: Route }) {
  const [first, id, part] = route.parts;
  const isKnown = isPage(route.parts);
  if (!isKnown) {
    return <NotFound parts={route.parts} />;
  }
  if (first === undefined || (first === "runs" && id === undefined)) {
    return <RunsPage route={route} />;
  }
  if (first === "try") {
    return <TryPage route={route} />;
  }
  if (first === "compare") {
    return <ComparePage route={route} />;
  }
  if (first === "experiments") {
    if (id === undefined) {
      return <ExperimentsPage route={route} />;
    }
    return id === "new" ? <NewExperimentPage /> : <ExperimentPage key={id} id={id} route={route} />;
  }
  if (first === "data" || (first === "models" && id === undefined)) {
    return <DataPage route={route} />;
  }
  if (first === "models" && id !== undefined) {
    return <ModelPage key={id} name={id} />;
  }
  if (first === "demo") {
    return <Lattice key="demo" runId={null} route={route} />;
  }
  if (first === "runs" && id !== undefined) {
    if (part === "lattice") {
      return <Lattice key={id} runId={id} route={route} />;
    }
    return part === "trace" ? (
      <TracePage key={id} runId={id} route={route} />
    ) : (
      <RunPage key={id} runId={id} route={route} />
    );
  }
  return <NotFound parts={route.parts} />;
}

/** The parts that may follow the first one of an address. */
const PARTS: Readonly<Record<string, (rest: readonly string[]) => boolean>> = {
  runs: ([, part, ...rest]) =>
    (part === undefined || part === "lattice" || part === "trace") && rest.length === 0,
  experiments: (rest) => rest.length <= 1,
  models: (rest) => rest.length <= 1,
};

function isPage([first, ...rest]: readonly string[]): boolean {
  return first === undefined || (PARTS[first]?.(rest) ?? rest.length === 0);
}

function NotFound({ parts: [first, id] }: { parts: readonly string[] }) {
  const isPart = id !== undefined && first in PARTS;
  return (
    <>
      <h1>Page not found</h1>
      <ul>
        {isPart && (
          <li>
            <a href={linkTo([first, id])}>
              {first} {id}
            </a>
          </li>
        )}
        <li>
          <a href="#/">All runs</a>
        </li>
      </ul>
    </>
  );
}

/** The lattice page, loaded when it is opened: most of the code is for drawing in 3D. */
function Lattice(props: { runId: string | null; route: Route }) {
  const { value: page, failure } = useLoad(() => import("./pages/lattice_page"), []);
  if (page === null) {
    return failure === null ? (
      <Waiting what="Loading" />
    ) : (
      <Notice tone="problem">{failure}</Notice>
    );
  }
  return <page.LatticePage {...props} />;
}

function SiteFoot() {
  const { value: system } = useLoad(getSystem, []);
  if (system === null) {
    return <footer class="site-foot" />;
  }
  return (
    <footer class="site-foot">
      Energy Flow {system.versions.energy_flow} on {system.device}
      {isKeyKept() && (
        <>
          {" · "}
          <button
            type="button"
            class="link"
            onClick={() => {
              forgetKey();
              location.reload();
            }}
          >
            Forget the API key
          </button>
        </>
      )}
    </footer>
  );
}

/** Ask for the API key when the server needs one. */
function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const answer = useRef<((entry: KeyEntry) => void) | null>(null);
  const [refused, setRefused] = useState(false);
  useEffect(() => {
    onKeyNeeded((wasRefused) => {
      setRefused(wasRefused);
      dialog.current?.showModal();
      return new Promise((resolve) => {
        answer.current = resolve;
      });
    });
  }, []);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const { value, checked } = {
      value: (form.elements.namedItem("key") as HTMLInputElement).value,
      checked: (form.elements.namedItem("keep") as HTMLInputElement).checked,
    };
    const key = value.trim();
    if (key !== "") {
      form.reset();
      dialog.current?.close();
      answer.current?.({ key, isKept: checked });
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onCancel={(event) => event.preventDefault()}>
      <form onSubmit={submit}>
        <h2 id="key-title">API key</h2>
        <p>{refused ? "The server refused this key." : "This server needs an API key."}</p>
        <label>
          Key
          <input name="key" type="password" autocomplete="off" required />
        </label>
        <label class="check">
          <input name="keep" type="checkbox" />
          keep it in this browser, for other tabs and later
        </label>
        <p class="quiet">Otherwise, the key is kept until this tab is closed.</p>
        <button class="button-main" type="submit">
          Use this key
        </button>
      </form>
    </dialog>
  );
}
