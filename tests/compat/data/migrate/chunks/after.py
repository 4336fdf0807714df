import zfit
import zrun_tf as zrun

zrun.run.set_chunksize(10_000)  # rows

# The other order.
zrun.run.set_chunksize(3 * 5000)
# from here on
zrun.run.set_chunksize(None)

if zrun.run.chunksize is not None:
    print(zrun.run.chunksize)
print(1 if (zrun.run.chunksize is not None) == True else 2)

zfit.run.chunking.max_n_points = 7
print(zfit.run.chunking.max_n_points)
zfit.run.chunking.active = True
zfit.run.chunking.active = bool(1)
zfit.run.chunking.rows = 5
limit = zfit.run.MAX_CHUNK_SIZE
zfit.run.chunking.active, [zfit.run.chunking.max_n_points] = True, [5]
zfit.run.chunking.max_n_points += 1
both = zfit.run.chunking.active = True
for zfit.run.chunking.active in [True]:
    pass
