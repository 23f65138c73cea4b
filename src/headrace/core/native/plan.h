/* A configuration as this folder reads it: what core/prepared.py has of each flow. */
#ifndef HEADRACE_PLAN_H
#define HEADRACE_PLAN_H

#include "buffer.h"

enum { MOST_PATHS = 1024, MOST_CAUSES = 17 };

enum { BY_PROFILE = 0, BY_IDENTITY = 1, BY_ATTRIBUTE = 2 };

/* A mapped attribute, or what is above some; its name, and the name as JSON with a colon. */
typedef struct Node {
    Span name, quoted;
    PyObject *path; /* of a mapped attribute, borrowed; NULL above some */
    int number;     /* of a mapped attribute, in the tree's order */
    struct Node *below;
    int count;
} Node;

typedef struct {
    Span namespace, id;
} Audience;

/* A cause that exports had: by its triggers and the numbers of its paths. */
typedef struct {
    int triggers;
    uint64_t paths;
    PyObject *cause;
    Buffer json, packed;
} Cause;

typedef struct {
    PyObject *id; /* borrowed, as all objects here: Plan.given holds them */
    Span id_text, digest, quoted_id;
    int metadata, trigger_segment, trigger_identity, trigger_attribute, same_value, skips, holds_back, key;
    Span key_namespace;
    Span *key_steps;
    int key_step_count;
    Node tree;
    Audience *audiences; /* in order */
    int audience_count;
    int path_count;
    Cause causes[MOST_CAUSES]; /* the first for what is not kept */
    int next_cause;
} Flow;

typedef struct {
    PyObject *given;
    PyObject *version;
    Span version_text, quoted_version;
    Flow *flows;
    int count;
} Plan;

static Span text_of(PyObject *text)
{
    Py_ssize_t size;
    const char *at = PyUnicode_AsUTF8AndSize(text, &size);
    return at == NULL ? (Span){NULL, 0} : (Span){at, (size_t)size};
}

static Span bytes_of(PyObject *bytes)
{
    return (Span){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)};
}

static void free_node(Node *node)
{
    for (int i = 0; i < node->count; i++)
        free_node(&node->below[i]);
    PyMem_Free(node->below);
}

static void free_plan(PyObject *capsule)
{
    Plan *plan = PyCapsule_GetPointer(capsule, "headrace.plan");
    if (plan == NULL)
        return;
    for (int i = 0; i < plan->count; i++) {
        free_node(&plan->flows[i].tree);
        PyMem_Free(plan->flows[i].key_steps);
        PyMem_Free(plan->flows[i].audiences);
        for (int c = 0; c < MOST_CAUSES; c++) {
            Py_XDECREF(plan->flows[i].causes[c].cause);
            PyMem_Free(plan->flows[i].causes[c].json.at);
            PyMem_Free(plan->flows[i].causes[c].packed.at);
        }
    }
    PyMem_Free(plan->flows);
    Py_XDECREF(plan->given);
    PyMem_Free(plan);
}

/* [(name, name as JSON and a colon, path or [...])] */
static int fill_node(Node *node, PyObject *given, int *numbers)
{
    Py_ssize_t count = PyList_Check(given) ? PyList_GET_SIZE(given) : -1;
    if (count < 0)
        return -1;
    node->below = PyMem_Calloc((size_t)count + 1, sizeof(Node));
    if (node->below == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name, *quoted, *rest;
        Node *below = &node->below[i];
        if (!PyArg_ParseTuple(PyList_GET_ITEM(given, i), "USO", &name, &quoted, &rest))
            return -1;
        node->count++;
        below->name = text_of(name);
        below->quoted = bytes_of(quoted);
        if (PyUnicode_Check(rest))
            below->path = rest, below->number = (*numbers)++;
        else if (fill_node(below, rest, numbers))
            return -1;
    }
    return 0;
}

static int by_name(const void *one, const void *other)
{
    const Audience *a = one, *b = other;
    int found = compared(a->namespace, b->namespace);
    return found ? found : compared(a->id, b->id);
}

static int fill_flow(Flow *flow, PyObject *given)
{
    PyObject *digest, *quoted_id, *steps, *tree, *audiences, *namespace;
    if (!PyArg_ParseTuple(given, "UUSpppppppiUO!O!O!", &flow->id, &digest, &quoted_id, &flow->metadata,
                          &flow->trigger_segment, &flow->trigger_identity, &flow->trigger_attribute, &flow->same_value, &flow->skips,
                          &flow->holds_back, &flow->key, &namespace, &PyTuple_Type, &steps, &PyList_Type, &tree,
                          &PyList_Type, &audiences))
        return -1;
    flow->id_text = text_of(flow->id);
    flow->digest = text_of(digest);
    flow->quoted_id = bytes_of(quoted_id);
    flow->key_namespace = text_of(namespace);
    flow->key_step_count = (int)PyTuple_GET_SIZE(steps);
    flow->audience_count = (int)PyList_GET_SIZE(audiences);
    flow->key_steps = PyMem_Calloc((size_t)flow->key_step_count + 1, sizeof(Span));
    flow->audiences = PyMem_Calloc((size_t)flow->audience_count + 1, sizeof(Audience));
    if (flow->key_steps == NULL || flow->audiences == NULL || fill_node(&flow->tree, tree, &flow->path_count))
        return -1;
    for (int i = 0; i < flow->key_step_count; i++)
        flow->key_steps[i] = text_of(PyTuple_GET_ITEM(steps, i));
    for (int i = 0; i < flow->audience_count; i++) {
        PyObject *id;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(audiences, i), "UU", &namespace, &id))
            return -1;
        flow->audiences[i] = (Audience){text_of(namespace), text_of(id)};
    }
    qsort(flow->audiences, (size_t)flow->audience_count, sizeof(Audience), by_name);
    return PyErr_Occurred() ? -1 : 0;
}

static int maps(const Flow *flow, Span namespace, Span id)
{
    const Audience wanted = {namespace, id};
    return bsearch(&wanted, flow->audiences, (size_t)flow->audience_count, sizeof(Audience), by_name) != NULL;
}

#endif
