"use strict";

// Show the document, and let a reader try calls with a key of his own, which the page forgets when it is closed.
SwaggerUIBundle({
  dom_id: "#document",
  url: "openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayOperationId: true,
  tryItOutEnabled: false,
  validatorUrl: null,
});
