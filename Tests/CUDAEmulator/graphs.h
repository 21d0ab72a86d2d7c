// Graphs: what streams recorded while they were captured, and how it runs again; part of cuda.cpp.
#pragma once
#include "streams.h"

#include <map>
#include <memory>

namespace {

struct Graph { Stream *origin; std::map<Stream *, Capture::Branch> branches; };

std::map<void *, std::shared_ptr<Graph>> graphs, instances;

// Runs a captured graph: each branch as a stream of its own, the origin's last moment first, so that a branch is as late as it may.
int replay(const Graph &graph, Context *context) {
    std::map<const Mark *, std::shared_ptr<Mark>> marks;
    std::map<Stream *, std::shared_ptr<Stream>> copies;
    for (auto &[original, branch] : graph.branches) copies[original] = std::make_shared<Stream>(Stream{original == graph.origin ? context : original->context, {}, false, nullptr});
    for (auto &[original, branch] : graph.branches)
        for (auto &item : branch.items)
            if (item.kind == Item::record) {
                marks[item.mark.get()] = std::make_shared<Mark>();
                marks[item.mark.get()]->stream = copies[original];
            }
    for (auto &[original, branch] : graph.branches)
        for (auto item : branch.items) {
            if (item.mark) item.mark = marks[item.mark.get()];
            copies[original]->items.push_back(std::move(item));
        }
    int status = drain(*copies[graph.origin], nullptr);
    for (auto &[original, copy] : copies) if (int failed = drain(*copy, nullptr)) status = failed;
    return status;
}

}  // namespace

extern "C" {

int cuStreamBeginCapture_v2(void *handle, int) {
    STREAM("cuStreamBeginCapture_v2");
    if (stream->capture) return invalid_value;
    stream->capture = std::make_shared<Capture>(Capture{stream, true, {}});
    stream->capture->branches[stream];
    return ok;
}

int cuStreamEndCapture(void *handle, void **result) {
    STREAM("cuStreamEndCapture");
    *result = nullptr;
    if (!stream->capture) return invalid_value;
    auto capture = stream->capture;
    if (capture->origin != stream) return capture_unmatched;
    for (auto &[known, other] : streams) if (other->capture == capture) other->capture = nullptr;
    if (!capture->valid) return capture_invalidated;
    for (auto &[branch, content] : capture->branches)
        if (branch != stream && content.joined != content.items.size()) return capture_unjoined;
    auto graph = std::make_shared<Graph>(Graph{stream, capture->branches});
    *result = graph.get();
    graphs[*result] = graph;
    return ok;
}

int cuGraphInstantiateWithFlags(void **result, void *handle, unsigned long long) {
    CONTEXT("cuGraphInstantiateWithFlags");
    Graph *graph = find(graphs, handle);
    if (!graph) return invalid_handle;
    auto instance = std::make_shared<Graph>(*graph);
    *result = instance.get();
    instances[*result] = instance;
    return ok;
}

int cuGraphLaunch(void *instance_handle, void *handle) {
    STREAM("cuGraphLaunch");
    if (!find(instances, instance_handle)) return invalid_handle;
    auto instance = instances[instance_handle];
    Context *context = current;
    return enqueue(*stream, {Item::work, [=] { return replay(*instance, context); }, nullptr});
}

int cuGraphDestroy(void *handle) { CALL("cuGraphDestroy"); return graphs.erase(handle) ? ok : invalid_handle; }
int cuGraphExecDestroy(void *handle) { CALL("cuGraphExecDestroy"); return instances.erase(handle) ? ok : invalid_handle; }

}  // extern "C"
