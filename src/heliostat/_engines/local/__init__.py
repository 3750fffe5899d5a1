"""The embedded engine: worker processes forked from a zygote, one hub in the driver, shared memory.

The journey of a task::

    RemoteFunction.remote
      -> LocalEngine.submit       (engine.py)     encode, post Submitted to the port
      -> Hub.post                 (hub.py)        owns sockets and processes; decides nothing
      -> Scheduler.handle         (scheduler.py)  Submitted in, Send(worker, Run) out
      -> Worker                   (worker.py)     decode, call, encode, reply Finished
      -> Scheduler.handle                         Finished in, Resolve out
      -> LocalEngine.get                          decode; a failure is raised

    decide   scheduler, actor_scheduler, direct_scheduler, actors, tasks, ownership, resources, arena
    do       hub, pool, zygote, worker, actor_loop, actor_threads, link, direct, store, logs, waiting
    words    messages, conn, failures, machine
"""
