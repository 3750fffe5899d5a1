"""What a cluster is, in words that every engine must honour; no sockets, no processes.

ids, options, specs, refs                   values
codec, arguments                            values <-> bytes
engine                                      the protocol that engines implement
session                                     the one current engine
remote, actors, api, context                what users call
"""
