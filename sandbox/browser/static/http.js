// Calls of the sandbox's own pages to the sandbox.

export async function readJson(address) {
  return answered(await fetch(address));
}

export async function sendJson(address, content) {
  const headers = { "Content-Type": "application/json" };
  return answered(await fetch(address, { method: "POST", headers, body: JSON.stringify(content) }));
}

async function answered(response) {
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}
