from zfit import run
import zrun_tf as zrun

zrun.run.clear_graph_cache()
zrun.run.clear_graph_cache(release_memory=True)
zrun.run.clear_graph_cache()
zrun.run.set_graph_cache_size(graphs=20)
zrun.run.set_graph_cache_size(graphs=20)
zrun.run.set_graph_cache_size(graphs=256)
zrun.run.set_graph_cache_size(graphs=256)
zrun.run.clear_graph_cache()
for clear in [zrun.run.clear_graph_cache, zrun.run.clear_graph_cache]:
    clear()
resize = run.set_graph_cache_size
zrun.run.set_graph_cache_size(20, 2**30)
zrun.run.set_graph_cache_size(graphs=20, bytes=2**30)
zrun.run.set_graph_cache_size(graphs=20)
run.set_graph_cache_size(number=20)
