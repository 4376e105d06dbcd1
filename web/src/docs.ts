/** The reference of the API: Swagger UI with the document of this server, without a CDN. */
import SwaggerUIBundle from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import { storedKey } from "./api/key";

SwaggerUIBundle({
  url: "./openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  requestInterceptor: (request) => {
    const key = storedKey();
    if (key === null) {
      return request;
    }
    const headers = request["headers"] as Record<string, string>;
    return { ...request, headers: { ...headers, Authorization: `Bearer ${key}` } };
  },
});
