// The code that does what the page just did. Keys are placeholders: no snippet ever holds one.

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const literal = (value) => JSON.stringify(value);
const indented = (value) => JSON.stringify(value, null, 2);

export const HINTS = {
  curl: "Set GATEWAY_KEY in your shell first.",
  python: "pip install httpx, and set GATEWAY_KEY first.",
  javascript: "For a page: token is from POST /v1/tokens, made by your server. No key belongs into a page.",
};

export function curl(request) {
  const url = quoted(location.origin + request.path);
  const key = `-H "X-API-Key: $GATEWAY_KEY"`;
  if (request.json) {
    return `curl ${key} -H 'Content-Type: application/json' \\\n  -d ${quoted(literal(request.json))} \\\n  ${url}`;
  }
  const { name, type } = request.file;
  return `curl ${key} -H ${quoted(`Content-Type: ${type}`)} \\\n  --data-binary ${quoted(`@${name}`)} \\\n  ${url}`;
}

export function python(request) {
  const head = `import os\n${request.json ? "" : "from pathlib import Path\n"}\nimport httpx\n`;
  const url = literal(location.origin + request.path);
  const headers = request.json
    ? `{"X-API-Key": os.environ["GATEWAY_KEY"]}`
    : `{"X-API-Key": os.environ["GATEWAY_KEY"], "Content-Type": ${literal(request.file.type)}}`;
  const body = request.json
    ? `json=${literal(request.json)}`
    : `content=Path(${literal(request.file.name)}).read_bytes()`;
  return `${head}
answer = httpx.post(
    ${url},
    headers=${headers},
    ${body},
)
answer.raise_for_status()
print(answer.json()["results"][0])
`;
}

export function javascript(request) {
  const url = literal(location.origin + request.path);
  const type = request.json ? "application/json" : request.file.type;
  const body = request.json
    ? `JSON.stringify(${indented(request.json).replaceAll("\n", "\n  ")})`
    : "file,  // a File, for instance of an <input type=\"file\">";
  return `const answer = await fetch(${url}, {
  method: "POST",
  headers: { Authorization: \`Bearer \${token}\`, "Content-Type": ${literal(type)} },
  body: ${body}${request.json ? "," : ""}
});
const { results, code, detail } = await answer.json();
if (!answer.ok) throw new Error(\`\${code}: \${detail}\`);
console.log(results[0]);
`;
}

export const SNIPPETS = { curl, python, javascript };
