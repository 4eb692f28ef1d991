// Runs one part of py/client.py beside the JavaScript clients.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const python = process.env.INTEROP_PYTHON ?? path.join(here, '.venv', 'bin', 'python')

/// Starts `part` in this room; resolves to what it reports, rejects with what it said on stderr.
export async function pythonPart (server, room, part) {
  if (!fs.existsSync(python)) {
    throw new Error(`there is no ${python}: run \`.ci/run\`, or make the environment as tests/README.md says`)
  }
  const child = spawn(python, [path.join(here, 'py', 'client.py'), part, `${server.url}/${room}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const onExit = () => child.kill('SIGKILL')
  process.once('exit', onExit)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data) => { stdout += data })
  child.stderr.on('data', (data) => { stderr += data })
  const code = await new Promise((resolve) => child.on('close', resolve))
  process.off('exit', onExit)
  if (code !== 0) throw new Error(`py/client.py ${part} ended with ${code}:\n${stderr}`)
  return JSON.parse(stdout)
}
