// Where a payment ends that has nowhere to return to.

import { chooseLanguage, text, write } from "./texts.js";

chooseLanguage();
write(document);
document.title = text("fail_title");
document.getElementById("reason").textContent = new URLSearchParams(location.search).get("error_msg") ?? "";
