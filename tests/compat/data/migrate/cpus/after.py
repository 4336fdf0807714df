from zfit import run
import zrun_tf as zrun

zrun.run.set_n_cpu("auto")
zrun.run.set_n_cpu(n_cpu=4, strict=True)
zrun.run.set_cpus_explicit(intra=2, inter=2)
print(zrun.run.n_cpu)

with zrun.run.acquire_cpu(max_cpu=2):
    pass


def count():
    with zrun.run.acquire_cpu() as cpus:
        print(f"{cpus} CPUs", cpus > 1)


def use():
    with run.aquire_cpu(-1) as names:
        print(names[0], len(names))


def none():
    with run.aquire_cpu(0):
        pass


lease = run.aquire_cpu(1)
