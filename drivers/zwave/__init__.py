"""Z-Wave on our own Serial API host.

driver, perform: the contract. settings: [radios.<name>]. network, tasks, life: one running connection. devices: nodes as the hub sees
them. link: the session on a port. controller: the stick. transmit: the air. segments, secured, messages: commands to and from nodes.
node, nodes, interview: what is known of them. inclusion, bootstrap, provisioning, keys: who joins, and with which keys.
server, server_*: the same contract on an existing zwave-js-server instead of a stick; see server.
Pure: frame (bytes of the serial line), session (the host's link), layout (declared wire formats), functions (Serial API), codec and
commands (command classes), catalog, own (what the hub says as a node), encapsulation, supervision, transport_service, security. Both
ends of every message are declared once, so the simulated stick shares them.
"""
