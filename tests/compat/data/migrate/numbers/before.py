from zfit import run

print(run.numeric_checks, run.check_numerics)
run.numeric_checks = True
run.check_numerics = False
