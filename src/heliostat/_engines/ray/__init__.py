"""The same program on a Ray cluster: the engine protocol in the words of Ray Core, and nothing else.

RayEngine.submit       (engine.py)    options into Ray's, the function and its arguments as bytes
  -> ray.remote(...)                  Ray schedules, retries, counts references, moves values
  -> host.run          (host.py)      in a worker of Ray's: decode, call, encode
  -> RayEngine.get                    decode; an error of Ray's becomes ours (failures.py)
"""
