// Copying, also where a browser gives a page no clipboard: on plain HTTP by the name of a host.

/** Copies what `element` says, or selects it for the reader to copy. Answers what happened, for a button to say. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(element);
    return "Selected: press Ctrl+C";
  }
}
