import zfit

zfit.run.chunking.active = True
zfit.run.chunking.max_n_points = 10_000  # rows

# The other order.
zfit.run.chunking.max_n_points = 3 * 5000
zfit.run.chunking.active = True  # from here on
zfit.run.chunking.active = False

if zfit.run.chunking.active:
    print(zfit.run.chunksize)
print(1 if zfit.run.chunking.active == True else 2)

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
