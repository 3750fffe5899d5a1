// A small view layer. A page describes what it shows with `h`; `render` changes what differs, so
// that focus, selections and scroll positions stay. Whatever is shown is text: nothing is parsed as
// HTML, so names of tasks, trials and files are inert.

const SVG = "http://www.w3.org/2000/svg";

// Text can move the cursor, change colours or hide what stands after it: none of that is shown.
// eslint-disable-next-line no-control-regex
const UNSEEN = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function plain(text) {
  return String(text).replace(UNSEEN, "");
}

// A widget is a tag, too: `{mount(props) -> {element, update(props), destroy()}}`.
export function h(tag, props, ...children) {
  return { tag, props: props || {}, children: children.flat(Infinity).filter(isThere) };
}

function isThere(child) {
  return child !== null && child !== undefined && child !== false;
}

export function render(parent, nodes) {
  const wanted = [nodes].flat(Infinity).filter(isThere);
  const keyed = new Map();
  for (const element of parent.childNodes) {
    if (element.viewKey !== undefined) keyed.set(element.viewKey, element);
  }
  wanted.forEach((node, index) => {
    const here = parent.childNodes[index];
    const key = node.props ? node.props.key : undefined;
    let found = key === undefined ? here : keyed.get(key);
    if (found && (found.viewKey !== key || found.viewTag !== tagOf(node))) found = undefined;
    const element = found || create(node, parent.namespaceURI === SVG && parent.localName !== "foreignObject");
    if (here !== element) parent.insertBefore(element, here || null);
    update(element, node);
  });
  while (parent.childNodes.length > wanted.length) {
    const last = parent.lastChild;
    destroy(last);
    last.remove();
  }
}

function tagOf(node) {
  return node.tag === undefined ? "#text" : node.tag;
}

function create(node, inSvg) {
  let element;
  if (node.tag === undefined) {
    element = document.createTextNode("");
  } else if (typeof node.tag === "object") {
    const widget = node.tag.mount(node.props);
    element = widget.element;
    element.viewWidget = widget;
  } else if (node.tag === "svg" || inSvg) {
    element = document.createElementNS(SVG, node.tag);
  } else {
    element = document.createElement(node.tag);
  }
  element.viewTag = tagOf(node);
  if (node.props && node.props.key !== undefined) element.viewKey = node.props.key;
  return element;
}

function update(element, node) {
  if (node.tag === undefined) {
    const text = plain(node);
    if (element.nodeValue !== text) element.nodeValue = text;
    return;
  }
  if (element.viewWidget) {
    element.viewWidget.update(node.props);
    return;
  }
  const before = element.viewProps || {};
  for (const name of Object.keys(before)) {
    if (!(name in node.props)) setProp(element, name, undefined, before[name]);
  }
  for (const [name, value] of Object.entries(node.props)) setProp(element, name, value, before[name]);
  element.viewProps = node.props;
  render(element, node.children);
  if (node.tag === "select") setProp(element, "value", node.props.value); // its options are there now
}

function setProp(element, name, value, before) {
  if (name === "key") return;
  if (name.startsWith("on")) {
    element[name] = value || null;
  } else if (name === "style") {
    for (const [key, one] of Object.entries(value || {})) {
      if (!before || before[key] !== one) element.style.setProperty(key, one);
    }
  } else if (name === "value" && "value" in element && element.tagName !== "OPTION") {
    if (element.value !== value && document.activeElement !== element) element.value = value;
  } else if (value === undefined || value === null || value === false) {
    element.removeAttribute(name);
  } else if (before !== value) {
    element.setAttribute(name, value === true ? "" : plain(value));
  }
}

function destroy(element) {
  if (element.viewWidget) element.viewWidget.destroy();
  for (const child of element.childNodes) destroy(child);
}
