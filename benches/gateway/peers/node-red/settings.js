'use strict'

// Without the editor; the rest is as Node-RED sets it.
module.exports = {
  uiHost: '127.0.0.1',
  uiPort: Number(process.env.PORT),
  httpAdminRoot: false,
  flowFile: 'flows.json',
  telemetry: { enabled: false },
  logging: { console: { level: 'fatal', metrics: false, audit: false } }
}
