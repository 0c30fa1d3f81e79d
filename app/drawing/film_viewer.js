// The view is what each pane shows of the film: its centre, in shares of width and height, and how often it is enlarged.
const WHOLE = { x: 0.5, y: 0.5, zoom: 1 };
const STEP = 1.3; // of the zoom, by button or key
const SHARE = 0.1; // of a pane that an arrow key moves
const LARGEST = 4; // pixels of the screen for one of the film
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const views = new WeakMap(); // of each viewer on the page, kept while its pictures change

export default function ({ parentElement, data }) {
  const viewer = parentElement.querySelector(".viewer");
  const [panes, output, opacity] = ["panes", "controls output", "controls input"].map((part) => viewer.querySelector(`.${part}`));
  const view = views.get(viewer) ?? { ...WHOLE };
  if (view.which !== data.which) Object.assign(view, WHOLE, { which: data.which });
  views.set(viewer, view);
  const listening = new AbortController();
  const on = (place, event, act, options) => place.addEventListener(event, act, { signal: listening.signal, ...options });

  panes.replaceChildren(pane("film", [picture(data.film, "The film")]));
  for (const { run, heat } of data.maps) {
    panes.append(pane(`evidence of ${run}`, [picture(data.film, ""), picture(heat, `Map of the evidence of ${run}`, "heat")]));
  }
  for (const name of ["ratio", "down", "across", "share"]) panes.style.setProperty(`--${name}`, data[name]);
  panes.style.setProperty("grid-template-columns", `${data.share}fr` + " 1fr".repeat(data.across));

  function draw() {
    const half = 0.5 / view.zoom;
    for (const axis of ["x", "y"]) view[axis] = Math.min(Math.max(view[axis], half), 1 - half);
    const [left, top] = [view.x, view.y].map((centre) => `${100 * (half - centre)}%`);
    panes.style.setProperty("--view", `scale(${view.zoom}) translate(${left}, ${top})`);
    panes.style.setProperty("--opacity", opacity.value);
    output.textContent = `zoom ${view.zoom.toFixed(1)}`;
  }

  // Enlarge by a factor; the place at (x, y), in shares of a pane, stays where it is.
  function zoom(factor, x = 0.5, y = 0.5) {
    const most = Math.max(LARGEST, (LARGEST * data.columns) / panes.querySelector(".pane").clientWidth);
    const before = view.zoom;
    view.zoom = Math.min(Math.max(before * factor, 1), most);
    view.x += (x - 0.5) * (1 / before - 1 / view.zoom);
    view.y += (y - 0.5) * (1 / before - 1 / view.zoom);
    draw();
  }

  function move(across, down) {
    view.x += across / view.zoom;
    view.y += down / view.zoom;
    draw();
  }

  function press(key) {
    if (key === "+" || key === "=") zoom(STEP);
    else if (key === "-") zoom(1 / STEP);
    else if (key === "0") zoom(0);
    else if (key in ARROWS) move(...ARROWS[key].map((way) => way * SHARE));
    else return false;
    return true;
  }

  on(panes, "keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && press(event.key)) event.preventDefault();
  });
  for (const button of viewer.querySelectorAll("button")) on(button, "click", () => press(button.dataset.key));
  on(opacity, "input", draw);
  on(panes, "dblclick", () => press("0"));
  on(panes, "wheel", (event) => {
    const place = event.target.closest(".pane")?.getBoundingClientRect();
    if (!place) return;
    event.preventDefault();
    const lines = event.deltaMode ? 30 : 1;
    zoom(1.0015 ** (-event.deltaY * lines), (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  }, { passive: false });
  on(panes, "pointerdown", (event) => event.target.closest(".pane")?.setPointerCapture(event.pointerId));
  on(panes, "pointermove", (event) => {
    const place = event.target.closest(".pane");
    if (place?.hasPointerCapture(event.pointerId)) move(-event.movementX / place.clientWidth, -event.movementY / place.clientHeight);
  });
  draw();
  return () => listening.abort();
}

function pane(caption, pictures) {
  const [figure, frame, layer, words] = ["figure", "div", "div", "figcaption"].map((name) => document.createElement(name));
  frame.className = "pane";
  layer.className = "layer";
  words.textContent = caption;
  layer.append(...pictures);
  frame.append(layer);
  figure.append(frame, words);
  return figure;
}

function picture(address, words, kind = "film") {
  const image = document.createElement("img");
  Object.assign(image, { src: address, alt: words, className: kind, draggable: false });
  return image;
}
