// Everything that would reach beyond this service is off; the page's Content-Security-Policy would stop it too.
Scalar.createApiReference("#reference", {
  url: "/openapi.json",
  // "/" of the description would be joined to paths as "//".
  servers: [{ url: window.location.origin }],
  defaultOpenAllTags: true,
  withDefaultFonts: false,
  proxyUrl: "",
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
});
