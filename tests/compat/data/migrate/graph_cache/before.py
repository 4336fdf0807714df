from zfit import run

run.clear_graph_cache()
run.clear_graph_cache(call_gc=True)
run.clear_graph_cache(call_gc=None)
run.set_graph_cache_size(20)
run.set_graph_cache_size(size=20)
run.set_graph_cache_size()
run.set_graph_cache_size(None)
run.experimental_clear_caches()
for clear in [run.clear_graph_cache, run.experimental_clear_caches]:
    clear()
resize = run.set_graph_cache_size
run.set_graph_cache_size(20, 2**30)
run.set_graph_cache_size(size=20, bytes=2**30)
run.set_graph_cache_size(graphs=20)
run.set_graph_cache_size(number=20)
