import zrun_tf as zr

zr.run.set_mode(graph=False)
zr.run.set_mode(graph=zr.run.current_policy_graph())
