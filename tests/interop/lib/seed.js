// The JavaScript halves of the two scenarios of ypy-websocket: each waits for the other side's turn
// (a rising `clock` in the map `_test`), does its part, and gives the turn back.
import * as Y from 'yjs'

function onTurn (client, act) {
  const clock = client.doc.getMap('_test')
  let mine = -1
  clock.observe((event) => {
    const now = clock.get('clock')
    if (!event.keysChanged.has('clock') || now <= mine) return
    act()
    mine = now + 1
    clock.set('clock', mine)
  })
}

/// Answers `map.in` with one more in `map.out`.
export function counter (client) {
  onTurn(client, () => client.map().set('out', client.map().get('in') + 1))
}

/// Adds a notebook's cell, and a state that says it is saved.
export function cells (client) {
  onTurn(client, () => {
    client.array('cells').push([new Y.Map([['source', new Y.Text('1 + 2')], ['metadata', { foo: 'bar' }]])])
    client.map('state').set('state', { dirty: false })
  })
}
