from zfit import run
import zrun_tf as zrun

print(zrun.run.policy.check_numerics, zrun.run.policy.check_numerics)
run.numeric_checks = True
run.check_numerics = False
