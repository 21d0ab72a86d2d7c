// Streams and events: queues of work that is done when something waits for it, or recorded while a stream is captured; part of
// cuda.cpp. What a capture becomes is in graphs.h.
#pragma once
#include "devices.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <time.h>
#include <vector>

namespace {

struct Stream;

// One recording of an event.
struct Mark {
    std::shared_ptr<Stream> stream;
    bool done = false, asked = false;
    uint64_t time = 0;
};

struct Item {
    enum { work, record, wait } kind;
    std::function<int()> run;
    std::shared_ptr<Mark> mark;
};

struct Capture {
    struct Branch { std::vector<Item> items; size_t joined = 0; };
    Stream *origin;
    bool valid = true;
    std::map<Stream *, Branch> branches;
};

struct Stream {
    Context *context;
    std::deque<Item> items;
    bool asked = false;
    std::shared_ptr<Capture> capture;
};

struct Event {
    bool timed;
    std::shared_ptr<Mark> mark;
    // In a capture instead: which, whose branch, and after how many of its items.
    std::weak_ptr<Capture> capture;
    Stream *branch = nullptr;
    size_t position = 0;
};

std::map<void *, std::shared_ptr<Stream>> streams;
std::map<void *, std::shared_ptr<Event>> events;

template <class Type> Type *find(std::map<void *, std::shared_ptr<Type>> &known, void *handle) {
    auto found = known.find(handle);
    return found == known.end() ? nullptr : found->second.get();
}

uint64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return uint64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

int perform(Stream &stream, Item &item);

// Does a stream's work, all of it or until the mark is reached.
int drain(Stream &stream, const Mark *until) {
    while (!stream.items.empty() && !(until && until->done)) {
        Item item = std::move(stream.items.front());
        stream.items.pop_front();
        perform(stream, item);
    }
    return stream.context->sticky;
}

int perform(Stream &stream, Item &item) {
    Context *context = stream.context;
    switch (item.kind) {
    case Item::work:
        // After an error nothing more is done.
        if (context->sticky == ok) {
            const int status = item.run();
            if (status && context->sticky == ok) context->sticky = status;
        }
        break;
    case Item::record:
        item.mark->done = true;
        item.mark->time = now();
        item.mark->stream = nullptr;
        break;
    case Item::wait:
        if (!item.mark->done && item.mark->stream) drain(*std::shared_ptr<Stream>(item.mark->stream), item.mark.get());
        break;
    }
    return context->sticky;
}

int drain_device(int device) {
    int status = ok;
    auto all = streams;
    for (auto &[handle, stream] : all)
        if (stream->context->device == device && !stream->capture) if (int failed = drain(*stream, nullptr)) status = failed;
    return status;
}

int enqueue(Stream &stream, Item item) {
    if (stream.capture) {
        if (!stream.capture->valid) return capture_invalidated;
        stream.capture->branches[&stream].items.push_back(std::move(item));
        return ok;
    }
    stream.asked = false;
    stream.items.push_back(std::move(item));
    return ok;
}

// What must not be called while this thread's context has a capturing stream.
int forbidden() {
    int status = ok;
    for (auto &[handle, stream] : streams)
        if (stream->capture && stream->context == current) {
            stream->capture->valid = false;
            status = capture_unsupported;
        }
    return status;
}

}  // namespace

// Each call on a stream of the current context.
#define STREAM(name) CONTEXT(name); Stream *stream = find(streams, handle); if (!stream) return invalid_handle; if (stream->context != current) return invalid_context

extern "C" {

int cuStreamCreate(void **handle, unsigned) {
    CONTEXT("cuStreamCreate");
    auto stream = std::make_shared<Stream>(Stream{current, {}, false, nullptr});
    *handle = stream.get();
    streams[*handle] = stream;
    return ok;
}

int cuStreamDestroy_v2(void *handle) {
    CALL("cuStreamDestroy_v2");
    Stream *stream = find(streams, handle);
    if (!stream) return invalid_handle;
    if (!stream->capture) drain(*stream, nullptr);
    streams.erase(handle);
    return ok;
}

int cuStreamQuery(void *handle) {
    STREAM("cuStreamQuery");
    if (stream->capture) { stream->capture->valid = false; return capture_unsupported; }
    if (stream->items.empty()) return ok;
    // Not done when asked first.
    if (!stream->asked) { stream->asked = true; return not_ready; }
    stream->asked = false;
    return drain(*stream, nullptr);
}

int cuStreamWaitEvent(void *handle, void *event_handle, unsigned) {
    STREAM("cuStreamWaitEvent");
    Event *event = find(events, event_handle);
    if (!event) return invalid_handle;
    if (auto capture = event->capture.lock()) {
        if (stream->capture && stream->capture != capture) return capture_merge;
        stream->capture = capture;
        // A branch is joined when the origin waits for its last item.
        if (stream == capture->origin) capture->branches[event->branch].joined = event->position;
        return enqueue(*stream, {Item::wait, nullptr, event->mark});
    }
    if (!event->mark) return ok;
    if (stream->capture) { stream->capture->valid = false; return capture_isolation; }
    return enqueue(*stream, {Item::wait, nullptr, event->mark});
}

int cuEventCreate(void **handle, unsigned flags) {
    CONTEXT("cuEventCreate");
    auto event = std::make_shared<Event>();
    event->timed = !(flags & 2);
    *handle = event.get();
    events[*handle] = event;
    return ok;
}

int cuEventDestroy_v2(void *handle) {
    CALL("cuEventDestroy_v2");
    return events.erase(handle) ? ok : invalid_handle;
}

int cuEventRecord(void *event_handle, void *handle) {
    STREAM("cuEventRecord");
    Event *event = find(events, event_handle);
    if (!event) return invalid_handle;
    event->mark = std::make_shared<Mark>();
    event->capture = stream->capture;
    if (stream->capture) {
        const int status = enqueue(*stream, {Item::record, nullptr, event->mark});
        event->branch = stream;
        event->position = stream->capture->branches[stream].items.size();
        return status;
    }
    event->mark->stream = streams[handle];
    return enqueue(*stream, {Item::record, nullptr, event->mark});
}

int cuEventQuery(void *handle) {
    CONTEXT("cuEventQuery");
    Event *event = find(events, handle);
    if (!event) return invalid_handle;
    if (event->capture.lock()) return captured_event;
    if (!event->mark || event->mark->done) return ok;
    auto mark = event->mark;
    if (!mark->asked) { mark->asked = true; return not_ready; }
    return mark->stream ? drain(*std::shared_ptr<Stream>(mark->stream), mark.get()) : ok;
}

int cuEventElapsedTime(float *milliseconds, void *start_handle, void *end_handle) {
    CONTEXT("cuEventElapsedTime");
    Event *start = find(events, start_handle), *end = find(events, end_handle);
    if (!start || !end || !start->timed || !end->timed || !start->mark || !end->mark) return invalid_handle;
    if (!start->mark->done || !end->mark->done) return not_ready;
    *milliseconds = float(double(int64_t(end->mark->time - start->mark->time)) / 1e6);
    return ok;
}

}  // extern "C"
