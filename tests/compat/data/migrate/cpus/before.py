from zfit import run

run.set_n_cpu("auto")
run.set_n_cpu(n_cpu=4, strict=True)
run.set_cpus_explicit(intra=2, inter=2)
print(run.n_cpu)

with run.aquire_cpu(max_cpu=2):
    pass


def count():
    with run.aquire_cpu() as cpus:
        print(f"{len(cpus)} CPUs", len( cpus ) > 1)


def use():
    with run.aquire_cpu(-1) as names:
        print(names[0], len(names))


def none():
    with run.aquire_cpu(0):
        pass


lease = run.aquire_cpu(1)
